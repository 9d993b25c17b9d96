"""The feature refresher: a process that keeps the features of the reference service fresh."""

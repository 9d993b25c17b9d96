"""What the three processes of the reference service have in common; imports nothing of theirs."""

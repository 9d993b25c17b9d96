"""The links of a stack: a pass-through TCP proxy on each connection between the app and what it depends on, and the
faults that can be set on it for a while (see __main__ for how it is started, control for how it is told)."""

"""Programs that undo a fault: run by the supervisor, each tries until its time is over, and ends with 0 when it has
seen that it is done."""

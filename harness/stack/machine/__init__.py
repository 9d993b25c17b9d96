"""What this machine can run and how well it can measure: readings, and checks that judge them. No check prints."""

"""What Prometheus is to watch all the time, made of the SLOs: error ratios, budgets, burn rates and alerts."""

"""Load: arrivals on a timetable, users under Locust, a recorder. Locust and gevent stay in the worker process."""

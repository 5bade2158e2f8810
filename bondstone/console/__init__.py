"""The console: pages for people, served by the API process."""

"""The console: server-rendered pages of what the monitor sees and did, and the requests that a person may make."""

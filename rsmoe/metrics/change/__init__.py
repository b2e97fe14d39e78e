"""Change: presence, counts, places and maps of what differs between two dates."""

"""What was bought: events, the state that they add up to, leases, recovery, decisions by hand."""

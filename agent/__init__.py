"""Who decides: the agent, its loop, events and limits, the backends and the command line."""

"""The server: the update core behind sockets, with patience, snapshots and a diary."""

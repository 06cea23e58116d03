"""What long-running work needs on any machine: device, processes, shards, progress, latency, memory, tables.

In: the environment of the process (GPU, launcher, `/proc`) and plain values. Out: plain values and files; nothing here
knows of documents or queries.
"""

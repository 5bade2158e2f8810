"""Container steps as Kubernetes Jobs.

The image runs as an init container, with `/bond/input` from a Secret and `/bond/output` in an empty volume. Once
it has ended well, the only other container of the pod, the collector, prints what is in `/bond/output` to its log.
That is sealed with a key which only the Secret of this Job holds, so logs that outlive the Job say nothing.
"""

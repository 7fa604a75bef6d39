"""The works, once for each subject.

A module has an async function for each work that its subject can do, named as the work. It is given a `Meter` and the
sizes, does its preparations, does the work in `with meter:`, and raises `AssertionError` if the result is wrong. A
module imports what its subject needs and, of this package, nothing but `benchmarks.meter` and `benchmarks.content`: it
runs in an environment of its own.
"""

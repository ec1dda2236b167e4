"""Tests, by what they need.

`unit` (packages of their own names), `gui` (widgets on no display), `faults` (processes that die, disks that fill up),
`compat` (foreign libraries and stores of other versions), `e2e` (the program as a person runs it); `helpers` is what
several of them share, `benchmarks` print tables and are not run. Processes are started in `e2e` and `faults` only.
"""

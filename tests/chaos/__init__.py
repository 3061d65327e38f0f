"""The chaos suite: seeded random scenarios of faults, judged by invariants that know nothing of the product's code.

    make chaos N=500            500 scenarios, from a seed that is printed
    make chaos N=500 SEED=7     the same ones again
    make chaos ONE=7000123      one of them again, with its log

One scenario is a raw file, an S3 server, a fault proxy and a destination in some state, and several runs of the
download task, each in a process of its own: with faults of network, disk and process, with power cuts, with other
programs that write, rename and delete in the destination meanwhile, sometimes two at once. After every run the
invariants are checked; in the end, without faults, one more run must restore everything.

    scenarios.py   what is drawn from a seed
    world.py       the same on disk and in S3
    child.py       the process that runs the task
    faults.py      faults of disk and process, inside that process
    intruders.py   other programs in the destination
    power.py       power cuts, by the model of the disk that tests/crash has
    metronome.py   when the machine stood still
    invariants.py  what must hold
    runner.py      one scenario from its seed to its verdict
"""

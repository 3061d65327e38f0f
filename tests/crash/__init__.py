"""The crash tests: a power cut after every step, on a model of the disk, as SQLite proves its own promises.

    make crash N=10000               10,000 crashed disks, from a seed that is printed
    make crash N=10000 SEED=7        the same ones again
    make crash ONE=7000012:1:35:4    one of them again: scenario 7000012, its first act, step 35, the fourth cut

A scenario (restore, heal, resume after a kill, two runs at once …) is played once by the real product on a real folder.
Every system call that changes something is recorded. Then, for every step, crashed disks are drawn by seed, and each is
judged: a final path holds proved bytes, the bytes from before, or nothing; what the run or a report called OK is right;
nothing of others is gone or changed; the last copy of a corrupted version is not lost; and the next run, which is the
real product again, on a share of them, ends right and leaves nothing behind. In some scenarios that next run is
recorded and cut too.

What a power cut may leave
--------------------------
Bytes. After a successful fsync of a file, its bytes, size and attributes are on the storage. Of what was written since,
each block of 4 KiB is for itself as it was then, as it is now, or as it was at any write between, since the kernel
writes back when it likes; a block that is new is also all zeros (allocated, and not written). The size is the old one,
the new one, or one between. Now and then a block is torn at a sector of 512 bytes, old behind new.

Attributes. Mode, group, ACL and modification time are each the old or the new one.

Names. After a successful fsync of a folder, its names are on the storage. Each name that was changed since leads to
what it led to then, now, or between, each for itself and in any order: POSIX promises no more, and ext2 does no more.
A rename is a change of two names. Where it is half on the storage, both names may lead to the file. That neither does
is possible on ext2 only, where fsck puts the file to lost+found; the drawn disks have that too.

Order. Some cuts leave what a journal leaves (ext4, xfs): all changes of names up to some step, and none after it.

Folders. fsync of a file says nothing of its name, and fsync of a folder nothing of the name of the folder itself. A
folder whose name is lost is lost with all that is in it. No name leads to a file that does not exist.

Failed syncs. When fsync of a file fails, with whatever errno, each block that was to be written may or may not be on
the storage, and the kernel takes it for clean: reads show the new bytes, and a later fsync succeeds, until the cache is
dropped (``posix_fadvise``) or the power goes. The same happens unnoticed to what a killed process left. When fsync of a
folder fails, its names stay as uncertain as before, and a later one that succeeds brings them: file systems with a
journal turn read-only there, which is not played.

Hard links may be missing (CIFS, FAT). Symbolic links, renames over several file systems and real devices are not
played: ``tests/disks`` has those.

    disk.py       the model: what is on the storage, and what a cut may leave of the rest
    recorder.py   between the product and a real folder
    store.py      an object store in memory
    product.py    how the product is run: its real restore and report, with small numbers
    scenarios.py  what is drawn from a seed
    stage.py      plays a scenario
    explorer.py   cuts after each step, and judges
    checks.py     what must hold
    sabotage.py   ways to break the product, to see that the checks notice
"""

"""MD5 of many streams at once. The types are in `_md5.pyi`, the code in `md5.c` and `md5_lanes.c`."""

from s3_restore_md5._md5 import MD5, instruction_set, instruction_sets, lane_count, select, update_many

__all__ = ["MD5", "instruction_set", "instruction_sets", "lane_count", "select", "update_many"]

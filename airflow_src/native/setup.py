"""Builds the wheel: the stable ABI of Python 3.11, so that one wheel serves all later versions too."""

import os

from setuptools import Extension, setup

# `make native-sanitize` adds its flags here; setuptools itself reads CC and CFLAGS.
EXTRA = os.environ.get("NATIVE_FLAGS", "").split()

setup(
    packages=["s3_restore_md5"],
    package_data={"s3_restore_md5": ["*.pyi", "py.typed"]},
    ext_modules=[
        Extension(
            "s3_restore_md5._md5",
            sources=["md5.c", "md5_lanes.c"],
            depends=["md5_lanes.h", "md5_kernel.h", "md5_steps.h"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
            extra_compile_args=["-O3", "-std=gnu11", "-Wall", "-Wextra", "-Wno-psabi", *EXTRA],
            extra_link_args=EXTRA,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

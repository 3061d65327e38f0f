"""The product against real S3 servers: Ceph RGW, rclone, nanio, s3rver, moto (`make test-stores`)."""

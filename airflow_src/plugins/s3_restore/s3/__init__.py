"""The object store on S3; the only room that knows botocore."""

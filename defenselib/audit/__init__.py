"""Your own data: a folder of images that nobody vouches for is read, scanned, and made ready for a defense."""

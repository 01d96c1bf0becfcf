"""Read text from images with Tesseract."""

"""Rasters: from the name of a file to pixels, masks and class maps.

`images` finds and decodes pictures; `raster_images` are pictures in GeoTIFFs; `mask_sources` and `mask_files` are masks
that are read when they are needed; `rle`, `polygons` and `components` are codes and shapes of masks.
"""

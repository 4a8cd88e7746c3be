"""The formats an image may come in, by Pillow's names: the suffix and MIME type it is stored with. Data only.

Leonardo serves JPEG, PNG or WebP. What it serves beside these was paid for too, so all is kept that Pillow decodes by
itself. Not among them, whatever Pillow's registry says:

EPS, IPTC                        drawn by Ghostscript, or may hold an EPS: a server's bytes start no program here
BUFR, GRIB, HDF5, MPEG, WMF      Pillow reads their header and no picture
FITS                             its packed form unpacks without a bound
"""

from __future__ import annotations

from collections.abc import Mapping

# Those that Leonardo serves and takes, and that carry a mark.
OWN_FORMATS = ("JPEG", "PNG", "WEBP")
# Several pictures in one JPEG; to every reader a JPEG.
ALIASES: Mapping[str, str] = {"MPO": "JPEG"}
_KEPT: Mapping[str, tuple[str, str]] = {
    "JPEG": ("jpg", "image/jpeg"),
    "PNG": ("png", "image/png"),
    "WEBP": ("webp", "image/webp"),
    "AVIF": ("avif", "image/avif"),
    "GIF": ("gif", "image/gif"),
    "TIFF": ("tiff", "image/tiff"),
    "BMP": ("bmp", "image/bmp"),
    "JPEG2000": ("jp2", "image/jp2"),
    "BLP": ("blp", "image/x-blp"),
    "CUR": ("cur", "image/vnd.microsoft.icon"),
    "DCX": ("dcx", "image/x-dcx"),
    "DDS": ("dds", "image/vnd-ms.dds"),
    "DIB": ("dib", "image/bmp"),
    "FLI": ("fli", "video/x-fli"),
    "FTEX": ("ftc", "image/x-ftex"),
    "GBR": ("gbr", "image/x-gimp-gbr"),
    "ICNS": ("icns", "image/x-icns"),
    "ICO": ("ico", "image/vnd.microsoft.icon"),
    "IM": ("im", "image/x-im"),
    "IMT": ("imt", "image/x-imt"),
    "MCIDAS": ("mcidas", "image/x-mcidas"),
    "MSP": ("msp", "image/x-msp"),
    "PCD": ("pcd", "image/x-photo-cd"),
    "PCX": ("pcx", "image/x-pcx"),
    "PIXAR": ("pxr", "image/x-pixar"),
    "PPM": ("ppm", "image/x-portable-anymap"),
    "PSD": ("psd", "image/vnd.adobe.photoshop"),
    "QOI": ("qoi", "image/qoi"),
    "SGI": ("sgi", "image/sgi"),
    "SPIDER": ("spi", "image/x-spider"),
    "SUN": ("ras", "image/x-sun-raster"),
    "TGA": ("tga", "image/x-tga"),
    "XBM": ("xbm", "image/x-xbitmap"),
    "XPM": ("xpm", "image/x-xpixmap"),
    "XVTHUMB": ("xv", "image/x-xv-thumbnail"),
}
EXTENSIONS: Mapping[str, str] = {name: extension for name, (extension, _) in _KEPT.items()}
CONTENT_TYPES: Mapping[str, str] = {name: content_type for name, (_, content_type) in _KEPT.items()}

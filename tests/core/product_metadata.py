"""Metadata files as agencies write them, with the parts that matter and some that mislead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from xml.sax.saxutils import escape


def mtl_groups(
    name: str, sensor: str, date: str, time: str, bands: Mapping[str, int]
) -> dict[str, dict[str, str]]:
    """Return the groups of a Landsat metadata file; ``bands`` are names and numbers."""
    level_1 = name.replace("_L2SP_", "_L1TP_").replace("_L2SR_", "_L1TP_")
    reflectance, radiometry = {}, {}
    for number in bands.values():
        reflectance[f"REFLECTANCE_MULT_BAND_{number}"] = "2.75e-05"
        reflectance[f"REFLECTANCE_ADD_BAND_{number}"] = "-0.2"
        # The same keys with the numbers of another product: the trap of every MTL file.
        radiometry[f"REFLECTANCE_MULT_BAND_{number}"] = "2.0000E-05"
        radiometry[f"REFLECTANCE_ADD_BAND_{number}"] = "-0.100000"
    thermal = "ST_B10" if sensor[2:] in {"08", "09"} else "ST_B6"
    return {
        "PRODUCT_CONTENTS": {
            "ORIGIN": "Image courtesy of the U.S. Geological Survey",
            "LANDSAT_PRODUCT_ID": name,
            "PROCESSING_LEVEL": name.split("_")[1],
            "COLLECTION_NUMBER": "02",
        },
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": f"LANDSAT_{int(sensor[2:])}",
            "DATE_ACQUIRED": date,
            "SCENE_CENTER_TIME": time,
        },
        "LEVEL2_PROCESSING_RECORD": {"LANDSAT_PRODUCT_ID": name},
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": reflectance,
        "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS": {
            f"TEMPERATURE_MULT_BAND_{thermal}": "0.00341802",
            f"TEMPERATURE_ADD_BAND_{thermal}": "149.0",
        },
        "LEVEL1_PROCESSING_RECORD": {"LANDSAT_PRODUCT_ID": level_1},
        "LEVEL1_RADIOMETRIC_RESCALING": radiometry,
    }


def _mtl_text(groups: Mapping[str, Mapping[str, str]]) -> str:
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for group, entries in groups.items():
        lines.append(f"  GROUP = {group}")
        for key, value in entries.items():
            bare = value[:1] in "-0123456789" and "Z" not in value
            lines.append(f"    {key} = {value}" if bare else f'    {key} = "{value}"')
        lines.append(f"  END_GROUP = {group}")
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


def _mtl_json(groups: Mapping[str, Mapping[str, str]]) -> str:
    return json.dumps({"LANDSAT_METADATA_FILE": groups})


def _mtl_xml(groups: Mapping[str, Mapping[str, str]]) -> str:
    body = "".join(
        f"<{group}>"
        + "".join(f"<{key}>{escape(value)}</{key}>" for key, value in entries.items())
        + f"</{group}>"
        for group, entries in groups.items()
    )
    head = '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>'
    return f"{head}\n<LANDSAT_METADATA_FILE>{body}</LANDSAT_METADATA_FILE>"


# How the groups are written, by the ending of the file.
MTL_WRITERS = {"txt": _mtl_text, "json": _mtl_json, "xml": _mtl_xml}


def sentinel2_metadata(
    name: str, baseline: str, start: str, quantification: int, shift: int
) -> str:
    """Return a Sentinel-2 metadata file; values lie ``shift`` higher than reflectance."""
    offsets = "".join(
        f'<BOA_ADD_OFFSET band_id="{number}">{-shift}</BOA_ADD_OFFSET>' for number in range(13)
    )
    physical = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
    bands = "".join(
        f'<Spectral_Information bandId="{number}" physicalBand="{band}"/>'
        for number, band in enumerate(physical)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
        "<n1:Level-2A_User_Product xmlns:n1="
        '"https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">'
        "<n1:General_Info><Product_Info>"
        f"<PRODUCT_START_TIME>{start}</PRODUCT_START_TIME>"
        f"<PRODUCT_URI>{name}.SAFE</PRODUCT_URI>"
        "<PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL>"
        f"<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        "</Product_Info><Product_Image_Characteristics>"
        "<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>"
        "<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>"
        "<QUANTIFICATION_VALUES_LIST>"
        f'<BOA_QUANTIFICATION_VALUE unit="none">{quantification}</BOA_QUANTIFICATION_VALUE>'
        '<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>'
        "</QUANTIFICATION_VALUES_LIST>"
        + (f"<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>" if shift else "")
        + f"<Spectral_Information_List>{bands}</Spectral_Information_List>"
        "</Product_Image_Characteristics></n1:General_Info></n1:Level-2A_User_Product>"
    )

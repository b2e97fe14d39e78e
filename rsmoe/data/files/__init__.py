"""Files that others wrote: one way to read text, json and csv, to find a file by its name, and to read bytes.

`text_files` knows encodings, line ends and limits; `json_text` and `csv_files` build on it. `values` says what is a
text, an id, a number. `file_names` finds the file that an annotation names, `links` says where links may lead.
`byte_ranges` and `http_ranges` read parts of local files and of addresses, `tar_index` knows where in a tar.
"""

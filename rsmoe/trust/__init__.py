"""Trust contract: what comes out of a file is data.

`checkpoint.check_checkpoint` holds a checkpoint against its schema, `saved_config.check_saved_config` says which parts
a config in it may name and with which arguments, `choices` what a run that goes on may take from its own file, and
`plain` what a plain value is. Nothing is built before all of it has passed.
"""

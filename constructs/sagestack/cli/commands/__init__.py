"""One module per group of commands: options and help here, the work in the modules beside this package."""

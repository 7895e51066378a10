//! The command line: arguments, exit codes and printing, one file a command.

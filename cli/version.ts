// The version of the command. It is that of package.json, which the packed command does not have beside it.
export const VERSION = '0.1.0';

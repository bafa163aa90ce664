package spool

// backslashIsPlain is false where a backslash separates path components.
const backslashIsPlain = false

package spool

// dirsCanSync is false: NTFS journals directory entries itself and refuses
// FlushFileBuffers on a directory handle.
const dirsCanSync = false

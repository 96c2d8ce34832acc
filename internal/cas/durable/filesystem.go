package durable

// SyncFileSystem makes everything durable that was written to the file system of the folder, and tells whether it could. What could not be written is
// reported to who had a file open before: here that is the lock, which is older than every file of this Temp. Another process that synced in between does
// not take the report away.
func (t *Temp) SyncFileSystem() bool {
	t.mu.Lock()
	lock := t.lock
	t.mu.Unlock()
	return lock != nil && syncFileSystem(lock)
}

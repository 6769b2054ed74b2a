package cli

import "golang.org/x/sys/unix"

// volatileVolume names a kind of file system that is no place for data, and says why.
func volatileVolume(dir string) (kind, why string) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return "", ""
	}
	switch int64(st.Type) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return "a file system in memory", "everything is gone when the machine restarts"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "a container's own layer", "everything is gone with the container; mount a volume"
	case unix.NFS_SUPER_MAGIC:
		return "NFS", "a sync may be slow, and locks may not keep a second node off"
	default:
		return "", ""
	}
}

// clockSynchronised asks the kernel whether somebody disciplines the clock.
func clockSynchronised() (synced, known bool) {
	state, err := unix.Adjtimex(new(unix.Timex))
	return state != unix.TIME_ERROR, err == nil
}

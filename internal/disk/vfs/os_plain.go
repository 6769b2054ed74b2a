//go:build !linux

package vfs

// readCold has no way to spare the page cache here.
func (f *osFile) readCold(p []byte, off int64) (int, error) { return f.file.ReadAt(p, off) }

// writeBuffers writes one buffer after the other.
func (f *osFile) writeBuffers(bufs [][]byte, off int64) (int64, error) {
	var written int64
	for _, b := range bufs {
		n, err := f.file.WriteAt(b, off+written)
		written += int64(n)
		if err != nil {
			return written, f.failed("write", err)
		}
	}
	return written, nil
}

package commitlog_test
import ("testing";"fmt";"os";"github.com/moldau/moldau/internal/disk/vfs")
func TestDbg(t *testing.T) {
	if os.Getenv("SEED")=="" { t.Skip() }
	var seed uint64
	fmt.Sscan(os.Getenv("SEED"), &seed)
	w := newWorld(t, seed)
	w.disk.SetTrace(func(op vfs.Op){ if op.Kind&vfs.OpCounted!=0 || op.Kind==vfs.OpOpen { fmt.Println(op.Kind, op.Path, op.To, op.Off, op.Len, op.Err) } })
	for range 4 {
			for range w.rng.IntN(60) {
				w.step()
			}
			if w.rng.IntN(3) == 0 {
				w.disk.CutAt(int64(1 + w.rng.IntN(20)))
				for range 30 {
					w.step()
				}
			}
			fmt.Println("RESTART")
			w.restart(w.rng.IntN(3) > 0)
		}
}

package cli

import (
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/network/certs"
)

// renewBefore is how long before its end a certificate is worth a warning.
const renewBefore = 30 * 24 * time.Hour

// checkCertificates looks at what the listeners with TLS would show, and who can read their keys.
func (d *doctor) checkCertificates() {
	const check = "certificates"
	for _, l := range slices.Concat(d.listeners.Broker, d.listeners.Controller) {
		if !l.SecurityProtocol.TLS() {
			continue
		}
		setting := func(key string) (string, bool) { return d.cfg.ForListener(l.Name, key) }
		store, err := certs.Load(certs.Options{Name: l.Name, Setting: setting, ReadFile: readStore})
		if err != nil {
			d.add(check, failure, "correct the setting or the file; the node does not start like this", "listener %s: %v", l.Name, err)
			continue
		}
		for _, note := range store.Notes() {
			d.add(check, warning, "", "listener %s: %s", l.Name, note)
		}
		switch end := store.Expires(); {
		case d.clock.Now().After(end):
			d.add(check, failure, "renew it", "the certificate of listener %s has expired, on %s", l.Name, end.Format(time.DateOnly))
		case d.clock.Now().After(end.Add(-renewBefore)):
			d.add(check, warning, "renew it; a running node takes the new file over by itself", "the certificate of listener %s expires on %s", l.Name, end.Format(time.DateOnly))
		default:
			d.add(check, fine, "", "listener %s has a certificate until %s", l.Name, end.Format(time.DateOnly))
		}
		if path, _ := setting("ssl.keystore.location"); path != "" {
			d.checkSecretFile(check, path)
		}
	}
}

// checkSecretFile warns of a file with a private key that others than its owner can use.
func (d *doctor) checkSecretFile(check, path string) {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&fs.FileMode(certs.LaxPermissions) != 0 {
		d.add(check, warning, "chmod 600 "+path, "others on this machine can read or change the private key in %s (%v)", path, info.Mode().Perm())
	}
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// kdc is a Kerberos server with its realm's key tables.
type kdc struct {
	dir   string // has krb5.conf and the key tables
	input io.Closer
	cmd   *exec.Cmd
}

// kdcStep installs it: java/kdc.
func (p *securitySuite) kdcStep() step {
	return step{"kdc", []string{"java/kdc/pom.xml", "java/kdc/Kdc.java"}, func(ctx context.Context, dir string) error {
		pom := filepath.Join(dir, "pom.xml")
		if err := copyFile(filepath.Join(p.source, "java/kdc/pom.xml"), pom); err != nil {
			return err
		}
		if err := command(ctx, dir, "mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "lib")); err != nil {
			return err
		}
		return command(ctx, filepath.Join(p.source, "java/kdc"), "javac", "-cp", filepath.Join(dir, "lib", "*"), "-d", filepath.Join(dir, "classes"), "Kdc.java")
	}}
}

// newKDC starts it, with the brokers' service, whose keys were others before, and the user gus.
func (p *securitySuite) newKDC(ctx context.Context, dir string) (*kdc, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	port, err := p.freePort()
	if err != nil {
		return nil, err
	}
	at := p.dir("kdc")
	k := &kdc{dir: dir, cmd: exec.CommandContext(ctx, "java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
		"-cp", filepath.Join(at, "classes")+":"+filepath.Join(at, "lib", "*"), "Kdc", dir, strconv.Itoa(port), "stale=kafka/localhost", "service=kafka/localhost", "gus=gus")}
	if k.input, err = k.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := k.cmd.Start(); err != nil {
		return nil, err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		k.stop()
		return nil, fmt.Errorf("the Kerberos server says %q: %w", line, err)
	}
	return k, nil
}

func (k *kdc) stop() {
	k.input.Close()
	_ = k.cmd.Wait()
}

func (k *kdc) keytab(name string) string { return filepath.Join(k.dir, name+".keytab") }

// login is the brokers' JAAS line with a key table.
func (k *kdc) login(name string) string {
	return fmt.Sprintf(`com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true isInitiator=false keyTab="%s" principal="kafka/localhost@COMPAT.TEST";`, k.keytab(name))
}

// gssRows are those with GSSAPI.
func (p *securitySuite) gssRows(b *securityBroker) []securityRow {
	row := func(name string, listener int, protocol string, ends ending) securityRow {
		return securityRow{Name: name, Bootstrap: b.at(listener), Protocol: protocol, Mechanism: "GSSAPI", Username: "gus", Keytab: p.kdc.keytab("gus"),
			Krb5: filepath.Join(p.kdc.dir, "krb5.conf"), user: "gus", ends: ends}
	}
	return []securityRow{
		row("GSSAPI: good ticket", onSASL, "SASL_PLAINTEXT", forbidden),
		row("GSSAPI over TLS: good ticket", onSASLS, "SASL_SSL", forbidden),
		row("GSSAPI: ticket with a key that the broker does not have", onAgain, "SASL_PLAINTEXT", refusedSASL),
	}
}

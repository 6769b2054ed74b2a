package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
)

// step installs one thing: its commands run when the files it depends on have changed.
type step struct {
	name  string
	files []string // in the source directory; the result is kept under their digest
	run   func(ctx context.Context, dir string) error
}

// dir is where a step's result is.
func (s *suite) dir(name string) string { return filepath.Join(s.cache, name) }

// install brings everything that the chosen parts need, the steps side by side.
func (s *suite) install(ctx context.Context) error {
	if err := os.MkdirAll(s.cache, 0o755); err != nil {
		return err
	}
	var steps []step
	if s.moldau == "" {
		s.moldau = filepath.Join(s.work, "moldau")
		steps = append(steps, step{"moldau", nil, func(ctx context.Context, _ string) error {
			return command(ctx, filepath.Join(s.source, "..", ".."), "go", "build", "-o", s.moldau, "./cmd/moldau")
		}})
	}
	steps = append(steps, step{"java", []string{"java/pom.xml", "java/Client.java", "java/Tools.java", "java/Streams.java", "java/Queue.java"}, s.installJava})
	if slices.Contains(s.parts, "clients") {
		steps = append(steps, s.clientSteps()...)
	}
	if slices.Contains(s.parts, "acl") {
		steps = append(steps, step{"next", []string{"java/next/pom.xml"}, s.installNext})
	}
	if slices.Contains(s.parts, "kgo") {
		steps = append(steps, step{"kgo", nil, func(ctx context.Context, dir string) error {
			return command(ctx, filepath.Join(s.source, "goclients"), "go", "test", "-c", "-o", filepath.Join(dir, "kgo.test"), kgoPackage)
		}})
	}
	var wg sync.WaitGroup
	errs := make([]error, len(steps))
	for i, st := range steps {
		wg.Go(func() {
			if err := s.step(ctx, st); err != nil {
				errs[i] = fmt.Errorf("%s: %w", st.name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// clientSteps are the installations that only the client part needs.
func (s *suite) clientSteps() []step {
	wants := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(s.clients, n) })
	}
	var steps []step
	if wants("franz-go", "sarama", "kafka-go", "kcat") {
		steps = append(steps, step{"goclients", nil, func(ctx context.Context, dir string) error {
			return command(ctx, filepath.Join(s.source, "goclients"), "go", "build", "-o", filepath.Join(dir, "goclients"), ".")
		}})
	}
	if wants("kcat") {
		steps = append(steps, step{"kcat", nil, func(ctx context.Context, _ string) error {
			if _, err := exec.LookPath("kcat"); err == nil {
				return nil
			}
			if err := command(ctx, s.cache, "apt-get", "update", "-q"); err != nil {
				return err
			}
			return command(ctx, s.cache, "apt-get", "install", "-y", "-q", "kcat")
		}})
	}
	if wants("confluent-kafka", "aiokafka") {
		steps = append(steps, step{"python", []string{"python/requirements.txt"}, func(ctx context.Context, dir string) error {
			if err := command(ctx, dir, "python3", "-m", "venv", "venv"); err != nil {
				return err
			}
			return command(ctx, dir, filepath.Join(dir, "venv/bin/pip"), "-q", "--disable-pip-version-check", "install", "-r", filepath.Join(s.source, "python/requirements.txt"))
		}})
	}
	if wants("kafkajs") {
		steps = append(steps, step{"node", []string{"node/package.json", "node/package-lock.json", "node/client.js"}, func(ctx context.Context, dir string) error {
			for _, f := range []string{"package.json", "package-lock.json", "client.js"} {
				if err := copyFile(filepath.Join(s.source, "node", f), filepath.Join(dir, f)); err != nil {
					return err
				}
			}
			return command(ctx, dir, "npm", "ci", "--ignore-scripts", "--no-fund", "--no-audit")
		}})
	}
	if wants("rdkafka") {
		steps = append(steps, step{"rust", []string{"rust/Cargo.toml", "rust/Cargo.lock", "rust/src/main.rs"}, func(ctx context.Context, dir string) error {
			return command(ctx, filepath.Join(s.source, "rust"), "cargo", "build", "-q", "--locked", "--target-dir", dir)
		}})
	}
	return steps
}

// step runs a step whose files are not those of its last success. A step without files is always
// run: its tool knows itself what has changed.
func (s *suite) step(ctx context.Context, st step) error {
	dir := s.dir(st.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	digest := sha256.New()
	for _, f := range st.files {
		b, err := os.ReadFile(filepath.Join(s.source, f))
		if err != nil {
			return err
		}
		digest.Write(b)
	}
	stamp, want := filepath.Join(dir, "installed"), hex.EncodeToString(digest.Sum(nil))
	if old, err := os.ReadFile(stamp); err == nil && len(st.files) > 0 && string(old) == want {
		return nil
	}
	if err := st.run(ctx, dir); err != nil {
		return err
	}
	return os.WriteFile(stamp, []byte(want), 0o644)
}

// installJava has Maven bring Kafka's jars and compiles the two programs.
func (s *suite) installJava(ctx context.Context, dir string) error {
	pom := filepath.Join(dir, "pom.xml")
	if err := copyFile(filepath.Join(s.source, "java/pom.xml"), pom); err != nil {
		return err
	}
	err := command(ctx, dir, "mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "lib"))
	if err != nil {
		return err
	}
	return command(ctx, filepath.Join(s.source, "java"), "javac", "-cp", filepath.Join(dir, "lib", "*"), "-d", filepath.Join(dir, "classes"), "Client.java", "Tools.java", "Streams.java", "Queue.java")
}

// java is a command line of the Java virtual machine with Kafka's jars and our programs.
func (s *suite) java(ctx context.Context, args ...string) *exec.Cmd {
	dir := s.dir("java")
	return exec.CommandContext(ctx, "java", append([]string{
		"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
		"-cp", filepath.Join(dir, "classes") + ":" + filepath.Join(dir, "lib", "*"),
	}, args...)...)
}

// command runs a command in a directory; its output is in the error when it fails.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out[max(0, len(out)-4000):])
	}
	return nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, b) {
		return nil
	}
	return os.WriteFile(to, b, 0o644)
}

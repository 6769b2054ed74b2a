package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of CPU times under /proc on every Linux.
const ticksPerSecond = 100

// cpuOf is the CPU time of a process, user and system. What the kernel's own threads do for it, such as writing
// dirty pages back, is not in it.
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(b)
}

// parseStat reads a line of /proc/PID/stat. The command's name may hold anything, so count from the last bracket.
func parseStat(b []byte) (time.Duration, error) {
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat has only %d fields", len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / ticksPerSecond), err
}

// memory is what a process occupies, in MB of 10^6 bytes.
type memory struct {
	resident  float64
	anonymous float64 // of resident: not backed by files
	peak      float64 // greatest resident yet
}

func memoryOf(pid int) (memory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	return parseStatus(string(b)), nil
}

func parseStatus(s string) memory {
	var m memory
	for line := range strings.Lines(s) {
		name, rest, _ := strings.Cut(line, ":")
		kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			m.resident = kb * 1024 / 1e6
		case "RssAnon":
			m.anonymous = kb * 1024 / 1e6
		case "VmHWM":
			m.peak = kb * 1024 / 1e6
		}
	}
	return m
}

// machineTimes are CPU times of the whole machine since it started.
type machineTimes struct {
	busy, stolen time.Duration
}

func readMachine() machineTimes {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineTimes{}
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return parseMachine(line)
}

// parseMachine reads the first line of /proc/stat: user nice system idle iowait irq softirq steal.
func parseMachine(line string) machineTimes {
	var m machineTimes
	for i, f := range strings.Fields(line) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			continue
		}
		d := time.Duration(n) * (time.Second / ticksPerSecond)
		switch i {
		case 1, 2, 3, 6, 7:
			m.busy += d
		case 8:
			m.stolen += d
		}
	}
	return m
}

// interval measures CPU over a stretch of time.
type interval struct {
	pid         int
	begin       time.Time
	cpu, client time.Duration
	machine     machineTimes
}

func beginInterval(pid int) (*interval, error) {
	cpu, err := cpuOf(pid)
	if err != nil {
		return nil, err
	}
	client, err := cpuOf(os.Getpid())
	return &interval{pid: pid, begin: time.Now(), cpu: cpu, client: client, machine: readMachine()}, err
}

// usage is what an interval saw.
type usage struct {
	wall, server, client time.Duration
	other, stolen        float64 // share of the machine that others had: everybody but server and client, the hypervisor
}

func (i *interval) end() (usage, error) {
	cpu, err := cpuOf(i.pid)
	if err != nil {
		return usage{}, err
	}
	client, err := cpuOf(os.Getpid())
	if err != nil {
		return usage{}, err
	}
	m := readMachine()
	u := usage{wall: time.Since(i.begin), server: cpu - i.cpu, client: client - i.client}
	whole := u.wall.Seconds() * float64(runtime.NumCPU())
	u.other = max(0, (m.busy-i.machine.busy-u.server-u.client).Seconds()/whole)
	u.stolen = (m.stolen - i.machine.stolen).Seconds() / whole
	return u, nil
}

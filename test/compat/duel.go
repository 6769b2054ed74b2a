package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A duel sends the same random requests to Moldau and to Kafka and wants the same answers. What a broker makes up (ids of
// members, producers, topics) is given a name in the order in which it appears, on both sides; requests are built for
// each side out of what that side made up.

// Bounds of waiting. A request that neither side answers within duelQuiet is taken as one that waits (a JoinGroup, say); when one
// side answers, the other has duelPatience.
const (
	duelQuiet    = 120 * time.Millisecond
	duelPause    = 15 * time.Millisecond // for older questions, once the newest is answered
	duelPatience = 20 * time.Second
	maxAnswer    = 16 << 20
	duelShown    = 3  // differences that are told of one discipline
	duelBefore   = 40 // requests that are told with each

	lateAgain = 100 // times that Kafka is asked again where it may be late
	latePause = 20 * time.Millisecond
)

// discipline is one field of requests.
type discipline struct {
	name     string
	settings string // lines of server.properties for both
	prepare  func(ctx context.Context, addr string) error
	play     func(g *game) error
	// prompt disciplines have no request that waits: an answer that is late is waited for, however busy the machine is.
	prompt bool
}

// disciplines are all there are, in the order in which they are played.
var disciplines = []discipline{topicsDuel, settingsDuel, clusterDuel, dataDuel, transactionsDuel, groupsDuel, consumersDuel, sharesDuel, streamsDuel}

// duels is the part of a run that plays them.
type duels struct{ *suite }

// run plays games of every chosen discipline.
func (s duels) run(ctx context.Context) error {
	for _, d := range disciplines {
		if len(s.disciplines) > 0 && !slices.Contains(s.disciplines, d.name) {
			continue
		}
		if err := s.duel(ctx, d); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

func (s duels) duel(ctx context.Context, d discipline) error {
	var addrs [2]string
	for i, name := range []string{moldauName, kafkaName} {
		b, err := s.brokerWith(name, "duel-"+d.name+"-"+name, d.settings)
		if err != nil {
			return err
		}
		if err := b.start(ctx); err != nil {
			return err
		}
		defer b.kill()
		if d.prepare != nil {
			if err := d.prepare(ctx, b.addr); err != nil {
				return fmt.Errorf("preparing %s: %w", name, err)
			}
		}
		addrs[i] = b.addr
	}
	versions, err := common(addrs)
	if err != nil {
		return err
	}
	asked, differences := 0, []string{}
	for i := range s.games {
		g := &game{discipline: d, seed: s.seed + uint64(i), addrs: addrs, versions: versions}
		err := g.run()
		asked += g.asked
		if err != nil && ctx.Err() == nil {
			// Kafka does much behind its answers. What is a difference shows again in the same game; what was a moment does not.
			again := &game{discipline: d, seed: g.seed, again: true, addrs: addrs, versions: versions}
			if first := err; again.run() == nil {
				fmt.Printf("duel %s, seed %d: differed once, and not when it was played again: %v\n", d.name, g.seed, first)
				err = nil
			}
		}
		if err != nil {
			differences = append(differences, fmt.Sprintf("seed %d: %v", g.seed, err))
		}
		if len(differences) == duelShown || ctx.Err() != nil {
			break
		}
	}
	err = ctx.Err()
	if len(differences) > 0 {
		err = errors.New("\n" + strings.Join(differences, "\n"))
	}
	s.report.check(fmt.Sprintf("duel %s: %d games, %d requests, the same answers", d.name, s.games, asked), err)
	return nil
}

// versionRange is what lies between two versions, both included.
type versionRange struct{ low, high int16 }

// common are the versions of each API that both brokers and the library know.
func common(addrs [2]string) (map[int16]versionRange, error) {
	var both [2]map[int16]versionRange
	for i, addr := range addrs {
		c, err := dialDuel(addr)
		if err != nil {
			return nil, err
		}
		req := kmsg.NewPtrApiVersionsRequest()
		c.send(req)
		resp, err := c.receive(duelPatience)
		c.close()
		if err != nil {
			return nil, err
		}
		both[i] = map[int16]versionRange{}
		for _, k := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
			both[i][k.ApiKey] = versionRange{k.MinVersion, k.MaxVersion}
		}
	}
	versions := map[int16]versionRange{}
	for key, ours := range both[0] {
		theirs, ok := both[1][key]
		req := kmsg.RequestForKey(key)
		if !ok || req == nil {
			continue
		}
		versions[key] = versionRange{max(ours.low, theirs.low), min(ours.high, theirs.high, req.MaxVersion())}
	}
	return versions, nil
}

// game is one sequence of requests, made from a seed.
type game struct {
	discipline discipline
	seed       uint64
	again      bool // it is played a second time, and its names are not those of the first
	addrs      [2]string
	versions   map[int16]versionRange
	rng        *rand.Rand
	prefix     string // names of this game's topics and groups begin with it
	sides      [2]*player
	waiting    []*exchange
	log        []string
	asked      int
}

// player is one broker's side of a game.
type player struct {
	name  string
	conns []*duelConn
	known map[string]string // what the broker made up, by its name in the game
	order []string          // those names, the newest last
}

// exchange is one request to both.
type exchange struct {
	q       question
	text    string
	version int16
	answers [2]kmsg.Response
}

// question is one request and what to do with its answers before they are compared.
type question struct {
	conn  int
	build func(p *player) kmsg.Request
	// learn names what the broker made up, and sorts what has no order. It may be nil.
	learn func(p *player, resp kmsg.Response)
	// silent requests are not answered: Produce without acknowledgement.
	silent bool
	// late marks questions about what the controller decided: Kafka's broker learns of it a little later, and is asked again.
	late bool
	// mayClose questions are so wrong that both brokers may close the connection instead of answering.
	mayClose bool
	// newest asks in the newest version that both know: for questions that a game learns from.
	newest bool
	// again tells of an answer that another will follow soon, as CONCURRENT_TRANSACTIONS: each side is asked until it says
	// something else. It may be nil.
	again func(resp kmsg.Response) bool
}

func (g *game) run() error {
	g.rng = rand.New(rand.NewPCG(g.seed, 1))
	g.prefix = fmt.Sprintf("%s-%d", g.discipline.name, g.seed)
	if g.again {
		g.prefix += "-again"
	}
	for i, name := range []string{moldauName, kafkaName} {
		g.sides[i] = &player{name: name, known: map[string]string{}}
	}
	defer func() {
		for _, p := range g.sides {
			for _, c := range p.conns {
				c.close()
			}
		}
	}()
	err := g.discipline.play(g)
	if err != nil {
		before := g.log[max(0, len(g.log)-duelBefore):]
		return fmt.Errorf("%w\n  after:\n    %s", err, strings.Join(before, "\n    "))
	}
	return nil
}

// open makes n more connections on each side.
func (g *game) open(n int) error {
	for i, p := range g.sides {
		for range n {
			c, err := dialDuel(g.addrs[i])
			if err != nil {
				return err
			}
			p.conns = append(p.conns, c)
		}
	}
	return nil
}

// free are the connections on which nothing waits.
func (g *game) free() []int {
	var free []int
	for i := range g.sides[0].conns {
		if !slices.ContainsFunc(g.waiting, func(e *exchange) bool { return e.q.conn == i }) {
			free = append(free, i)
		}
	}
	return free
}

// version chooses a version of an API, the newest half of the time.
func (g *game) version(req kmsg.Request) int16 {
	s := g.versions[req.Key()]
	if g.rng.IntN(2) == 0 {
		return s.high
	}
	return s.low + int16(g.rng.IntN(int(s.high-s.low)+1))
}

// oneOf draws one of several.
func oneOf[T any](g *game, of ...T) T { return of[g.rng.IntN(len(of))] }

// rarely is true once in n times.
func rarely(g *game, n int) bool { return g.rng.IntN(n) == 0 }

// percent is true so many times of a hundred.
func (g *game) percent(n int) bool { return g.rng.IntN(100) < n }

// weighted is something to do, and how often it is done beside others.
type weighted struct {
	weight int
	do     func() error
}

// draw does one of several things.
func (g *game) draw(of []weighted) error {
	total := 0
	for _, m := range of {
		total += m.weight
	}
	n := g.rng.IntN(total)
	i := slices.IndexFunc(of, func(m weighted) bool { n -= m.weight; return n < 0 })
	return of[i].do()
}

// ask sends a request to both and compares the answers, its own and those of requests that waited. It returns the
// answers, nil when the request waits.
func (g *game) ask(q question) ([2]kmsg.Response, error) {
	e, err := g.put(q)
	return e.answers, err
}

func (g *game) put(q question) (*exchange, error) {
	e := &exchange{q: q}
	g.asked++
	for i, p := range g.sides {
		req := q.build(p)
		if i == 0 {
			e.version = g.version(req)
			if q.newest {
				e.version = g.versions[req.Key()].high
			}
			e.text = fmt.Sprintf("%s v%d on %d %s", kmsg.NameForKey(req.Key()), e.version, q.conn, p.text(req))
		}
		req.SetVersion(e.version)
		p.conns[q.conn].send(req)
	}
	g.log = append(g.log, e.text)
	if q.silent {
		return e, nil
	}
	g.waiting = append(g.waiting, e)
	return e, g.settle()
}

// settle compares what has been answered, until nothing more comes.
func (g *game) settle() error {
	quiet := duelQuiet
	if g.discipline.prompt {
		quiet = duelPatience
	}
	asked := g.waiting[len(g.waiting)-1]
	for len(g.waiting) > 0 {
		if !slices.Contains(g.waiting, asked) {
			quiet = duelPause
		}
		e, err := g.next(quiet)
		if e == nil || err != nil {
			return err
		}
		if err := g.compare(e); err != nil {
			return err
		}
		g.waiting = slices.DeleteFunc(g.waiting, func(o *exchange) bool { return o == e })
	}
	return nil
}

// next is an exchange that both sides have answered, nil when nobody answers while it is quiet for so long.
func (g *game) next(quiet time.Duration) (*exchange, error) {
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	var cases []reflect.SelectCase
	var of [][2]int
	for k, e := range g.waiting {
		for i, p := range g.sides {
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(p.conns[e.q.conn].answers)})
			of = append(of, [2]int{k, i})
		}
	}
	cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(timer.C)})
	chosen, value, _ := reflect.Select(cases)
	if chosen == len(of) {
		if g.discipline.prompt {
			return nil, fmt.Errorf("nobody answers %s", g.waiting[0].text)
		}
		return nil, nil
	}
	e, i := g.waiting[of[chosen][0]], of[chosen][1]
	first, err := value.Interface().(answer).take()
	if errors.Is(err, errClosed) && e.q.mayClose {
		return e, g.bothClose(e.text, e.q.conn, 1-i)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", e.text, g.sides[i].name, err)
	}
	e.answers[i] = first
	other := g.sides[1-i]
	if e.answers[1-i], err = other.conns[e.q.conn].receive(duelPatience); err != nil {
		return nil, fmt.Errorf("%s\n  %s answers %s\n  %s: %w", e.text, g.sides[i].name, g.sides[i].text(first), other.name, err)
	}
	return e, nil
}

// bothClose wants a side to have closed a connection, too, and opens it again on both.
func (g *game) bothClose(text string, conn, other int) error {
	if resp, err := g.sides[other].conns[conn].receive(duelPatience); !errors.Is(err, errClosed) {
		return fmt.Errorf("%s\n  %s closes the connection\n  %s answers %s %v", text, g.sides[1-other].name, g.sides[other].name, g.sides[other].text(resp), err)
	}
	for _, p := range g.sides {
		c, err := dialDuel(p.conns[conn].c.RemoteAddr().String())
		if err != nil {
			return err
		}
		p.conns[conn].close()
		p.conns[conn] = c
	}
	return nil
}

func (g *game) compare(e *exchange) error {
	if e.answers == [2]kmsg.Response{} {
		g.log = append(g.log, "  both close the connection")
		return nil
	}
	for side := range e.answers {
		for i := 0; e.q.again != nil && e.q.again(e.answers[side]) && i < lateAgain; i++ {
			if err := g.askAgain(e, side); err != nil {
				return err
			}
		}
	}
	ours, theirs := g.said(e, 0), g.said(e, 1)
	for i := 0; e.q.late && ours != theirs && i < lateAgain; i++ {
		if err := g.askAgain(e, 1); err != nil {
			return err
		}
		theirs = g.said(e, 1)
	}
	if ours != theirs {
		return fmt.Errorf("%s\n  %s answers %s\n  %s answers %s", e.text, moldauName, ours, kafkaName, theirs)
	}
	g.log = append(g.log, "  "+ours)
	return nil
}

// askAgain puts a question to one side once more, after a moment.
func (g *game) askAgain(e *exchange, side int) (err error) {
	<-time.After(latePause)
	c := g.sides[side].conns[e.q.conn]
	req := e.q.build(g.sides[side])
	req.SetVersion(e.version)
	c.send(req)
	e.answers[side], err = c.receive(duelPatience)
	return err
}

// need asks a question that does not wait, and has its answers however slow both sides are.
func (g *game) need(q question) ([2]kmsg.Response, error) {
	e, err := g.put(q)
	for end := time.Now().Add(duelPatience); err == nil && slices.Contains(g.waiting, e); err = g.settle() {
		if time.Now().After(end) {
			return e.answers, fmt.Errorf("%s\n  neither answers in %v", e.text, duelPatience)
		}
	}
	return e.answers, err
}

// said is what a side answered, in words.
func (g *game) said(e *exchange, side int) string {
	if e.q.learn != nil {
		e.q.learn(g.sides[side], e.answers[side])
	}
	return g.sides[side].text(e.answers[side])
}

// bind names what a broker made up. Without value nothing is named.
func (p *player) bind(name, value string) {
	if value == "" {
		return
	}
	if _, ok := p.known[name]; !ok {
		p.order = append(p.order, name)
	}
	p.known[name] = value
}

// bindID names an id that a broker made up.
func (p *player) bindID(name string, id [16]byte) {
	if id != [16]byte{} {
		p.bind(name, hex.EncodeToString(id[:]))
	}
}

// text is a message in words, what the broker made up by its name, without versions and delays.
func (p *player) text(m any) string {
	var b strings.Builder
	spell(&b, reflect.ValueOf(m))
	text := b.String()
	names := slices.Clone(p.order)
	sort.SliceStable(names, func(i, j int) bool { return len(p.known[names[i]]) > len(p.known[names[j]]) })
	for _, name := range names {
		text = strings.ReplaceAll(text, p.known[name], "<"+name+">")
	}
	return text
}

// unsaid are fields that differ without meaning.
var unsaid = []string{"Version", "ThrottleMillis", "UnknownTags"}

func spell(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			b.WriteString("nil")
			return
		}
		spell(b, v.Elem())
	case reflect.Struct:
		b.WriteByte('{')
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() || slices.Contains(unsaid, f.Name) || v.Field(i).IsZero() && f.Name != "ErrorCode" {
				continue
			}
			fmt.Fprintf(b, "%s:", f.Name)
			spell(b, v.Field(i))
			b.WriteByte(' ')
		}
		b.WriteByte('}')
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.Kind() == reflect.Array {
				fmt.Fprintf(b, "%x", v.Interface())
			} else {
				fmt.Fprintf(b, "%q", v.Bytes())
			}
			return
		}
		b.WriteByte('[')
		for i := range v.Len() {
			spell(b, v.Index(i))
			b.WriteByte(' ')
		}
		b.WriteByte(']')
	case reflect.String:
		fmt.Fprintf(b, "%q", v.String())
	default:
		fmt.Fprintf(b, "%v", v.Interface())
	}
}

// duelConn is a connection to one broker that pairs answers with requests.
type duelConn struct {
	c       net.Conn
	mu      sync.Mutex // guards what follows
	sent    []kmsg.Request
	next    int32
	answers chan answer
}

var errClosed = errors.New("the connection was closed")

// answer is one response, or why there is none.
type answer struct {
	resp kmsg.Response
	err  error
}

func (a answer) take() (kmsg.Response, error) {
	if a.resp == nil && a.err == nil {
		return nil, errClosed
	}
	return a.resp, a.err
}

func dialDuel(addr string) (*duelConn, error) {
	nc, err := net.DialTimeout("tcp", addr, duelPatience)
	if err != nil {
		return nil, err
	}
	c := &duelConn{c: nc, answers: make(chan answer, 16)}
	go c.read()
	return c, nil
}

func (c *duelConn) close() { c.c.Close() }

// send writes a request. What goes wrong shows in the answer.
func (c *duelConn) send(req kmsg.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("duel")).AppendRequest(nil, req, c.next)
	c.next++
	if p, ok := req.(*kmsg.ProduceRequest); !ok || p.Acks != 0 {
		c.sent = append(c.sent, req)
	}
	_, _ = c.c.Write(frame) // the reader learns of it
}

// receive waits for the next answer.
func (c *duelConn) receive(limit time.Duration) (kmsg.Response, error) {
	select {
	case a := <-c.answers:
		return a.take()
	case <-time.After(limit):
		return nil, fmt.Errorf("no answer in %v", limit)
	}
}

func (c *duelConn) read() {
	defer close(c.answers)
	for {
		resp, err := c.one()
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return
		}
		c.answers <- answer{resp, err}
		if err != nil {
			return
		}
	}
}

func (c *duelConn) one() (kmsg.Response, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.c, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > maxAnswer {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.c, body); err != nil {
		return nil, err
	}
	c.mu.Lock()
	if len(c.sent) == 0 {
		c.mu.Unlock()
		return nil, errors.New("an answer to nothing")
	}
	req := c.sent[0]
	c.sent = c.sent[1:]
	c.mu.Unlock()
	body = body[4:]
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && resp.Key() != 18 { // ApiVersions keeps the old header
		if len(body) == 0 || body[0] != 0 {
			return nil, fmt.Errorf("%s: tags in the header", kmsg.NameForKey(req.Key()))
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%s v%d: %w", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp, nil
}

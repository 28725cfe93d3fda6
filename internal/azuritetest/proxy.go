package azuritetest

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// Fault is what a proxy does to one request.
type Fault struct {
	Status int    // answers with it, without passing the request on
	Code   string // the service's error code of that answer, if it has one
	After  string // its Retry-After, if it has one
	Cut    bool   // cuts the connection, without passing the request on
	Lose   bool   // passes the request on and cuts the connection before the answer to a write that was done
	Once   bool   // with Lose: only the first such write, then nothing more goes wrong
	Hang   bool   // passes nothing on and says nothing until the client gives up
}

// Proxy injects faults in front of a Blob service: Azurite, or one like it. Its methods may be called by several
// goroutines at once.
type Proxy struct {
	URL  string        // of the account
	Skew time.Duration // how far the service's clock is ahead; set before use

	next   http.Handler
	server *httptest.Server

	mu   sync.Mutex
	pick func(r *http.Request) *Fault
	seen []*http.Request
}

// NewProxy starts a proxy in front of an account. The caller closes it.
func NewProxy(account string) (*Proxy, error) {
	target, err := url.Parse(account)
	if err != nil {
		return nil, err
	}
	path := target.Path
	target.Path = ""
	p := &Proxy{}
	p.next = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			maps.Copy(r.Out.Header, r.In.Header) // as they were spelled
		},
		ModifyResponse: p.shift,
		ErrorLog:       log.New(io.Discard, "", 0), // of clients that have gone
	}
	p.server = httptest.NewServer(p)
	p.URL = p.server.URL + path
	return p, nil
}

// Close ends the proxy, and the requests that hang in it.
func (p *Proxy) Close() {
	p.server.CloseClientConnections()
	p.server.Close()
}

// listedTime is when a listed blob was written.
var listedTime = regexp.MustCompile(`<Last-Modified>([^<]*)</Last-Modified>`)

// shift sets the clock of an answer.
func (p *Proxy) shift(r *http.Response) error {
	if p.Skew == 0 {
		return nil
	}
	move := func(text string) string {
		at, err := http.ParseTime(text)
		if err != nil {
			return text
		}
		return at.Add(p.Skew).Format(http.TimeFormat)
	}
	for _, name := range []string{"Date", "Last-Modified"} {
		if v := r.Header.Get(name); v != "" {
			r.Header.Set(name, move(v))
		}
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	text = listedTime.ReplaceAllFunc(text, func(found []byte) []byte {
		return []byte("<Last-Modified>" + move(string(listedTime.FindSubmatch(found)[1])) + "</Last-Modified>")
	})
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	r.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}

// Set chooses what happens to each request from now on; nil is nothing.
func (p *Proxy) Set(pick func(r *http.Request) *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pick, p.seen = pick, nil
}

// Requests returns those that came since Set.
func (p *Proxy) Requests() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*http.Request(nil), p.seen...)
}

// LoseNext loses the answer of the next write that succeeds.
func (p *Proxy) LoseNext() {
	p.Set(func(r *http.Request) *Fault {
		if r.Method == http.MethodPut {
			return &Fault{Lose: true, Once: true}
		}
		return nil
	})
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen = append(p.seen, r.Clone(r.Context()))
	var f *Fault
	if p.pick != nil {
		f = p.pick(r)
	}
	p.mu.Unlock()
	switch {
	case f == nil:
		p.next.ServeHTTP(w, r)
	case f.Cut:
		panic(http.ErrAbortHandler)
	case f.Hang:
		<-r.Context().Done()
	case f.Lose:
		p.lose(w, r, f)
	default:
		f.answer(w)
	}
}

// lose passes a request on, and loses the answer if it was done.
func (p *Proxy) lose(w http.ResponseWriter, r *http.Request, f *Fault) {
	got := httptest.NewRecorder()
	p.next.ServeHTTP(got, r)
	if got.Code < http.StatusMultipleChoices {
		if f.Once {
			p.mu.Lock()
			p.pick = nil
			p.mu.Unlock()
		}
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), got.Header())
	w.WriteHeader(got.Code)
	_, _ = w.Write(got.Body.Bytes())
}

// answer answers in the place of the service.
func (f *Fault) answer(w http.ResponseWriter) {
	if f.After != "" {
		w.Header().Set("Retry-After", f.After)
	}
	if f.Code == "" {
		w.WriteHeader(f.Status)
		return
	}
	w.Header().Set("X-Ms-Error-Code", f.Code)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(f.Status)
	_, _ = fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message></Error>", f.Code, f.Code)
}

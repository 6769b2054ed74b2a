package node

import (
	"context"
	"log/slog"
)

// leveled is a handler whose level can be raised, and lowered again, while the node runs.
type leveled struct {
	slog.Handler
	level *slog.LevelVar
}

// level makes the logger's level changeable where its owner did not: what its handler does not let through stays away.
func level(l *slog.Logger) (*slog.Logger, *slog.LevelVar) {
	v := new(slog.LevelVar)
	for _, at := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug} {
		if l.Enabled(context.Background(), at) {
			v.Set(at)
		}
	}
	return slog.New(leveled{l.Handler(), v}), v
}

// Enabled tells whether both levels let a line through.
func (h leveled) Enabled(ctx context.Context, at slog.Level) bool {
	return at >= h.level.Level() && h.Handler.Enabled(ctx, at)
}

// WithAttrs keeps the level.
func (h leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{h.Handler.WithAttrs(attrs), h.level}
}

// WithGroup keeps the level.
func (h leveled) WithGroup(name string) slog.Handler {
	return leveled{h.Handler.WithGroup(name), h.level}
}

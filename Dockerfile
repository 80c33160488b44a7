# One image for every program of Millrace; the command says which: api, worker
# or millrace. Static, without a shell, not run by root.

FROM golang:1.26-alpine AS build
WORKDIR /src
# Set to name another module proxy; not set, Go's default holds.
ARG GOPROXY
# The modules are a layer of their own: they are downloaded again only when go.mod changes.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    go mod download
COPY . .
ARG VERSION
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/go/build-cache \
    mkdir /out && GOCACHE=/go/build-cache CGO_ENABLED=0 go build -trimpath \
      -ldflags "-s -w -X github.com/millrace/millrace/bootstrap.version=${VERSION}" \
      -o /out/ ./cmd/api ./cmd/worker ./cmd/millrace

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/ /usr/local/bin/
EXPOSE 8000
CMD ["api"]

# The agent's image: docs/image.md. `npm run test:image` runs every step without a container engine.

# Debian's release and the day of its image. The release is the one whose compiler and libbpf the tests run with: the verifiers of old
# kernels are particular about what a compiler makes. For bytes that never change add the digest: bookworm-20260918-slim@sha256:…
ARG DEBIAN=bookworm-20260918-slim

FROM debian:${DEBIAN} AS build
# npm does nothing but fetch: all that runs is of the lockfile, Node.js itself included.
RUN apt-get update \
  && apt-get install -y --no-install-recommends clang g++ libbpf-dev llvm make npm pkg-config \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY LICENSE package.json package-lock.json ./
COPY bpf-napi/package.json bpf-napi/
# Debian's npm forgets the link to Node.js when it leaves out the package of the other architecture, whose link has the same name.
RUN npm ci --ignore-scripts --no-audit --no-fund --loglevel=error \
  && ln -sf "$PWD"/node_modules/node-linux-*/bin/node node_modules/.bin/node
COPY bin bin
COPY bpf-napi bpf-napi
COPY scripts/bundle.ts scripts/bundle_agent.ts scripts/
COPY tsconfig.json ./
COPY src src
ENV PATH=/build/node_modules/.bin:${PATH}
RUN make -s -j"$(nproc)" -C bpf-napi \
  && make -s -j"$(nproc)" -C src/bpf OUT=/build/dist/bpf \
  && node scripts/bundle.ts
# What is bundled is all that the agent needs of its packages.
RUN mkdir -p /image/node_modules/.bin \
  && install -s node_modules/.bin/node /image/node_modules/.bin/ \
  && install -s bpf-napi/build/bpf_napi.node dist/ \
  && cp -r LICENSE bin dist package.json /image/ \
  && cp src/bpf/LICENSE /image/dist/bpf/ \
  && cp node_modules/node-linux-*/LICENSE /image/node_modules/

FROM debian:${DEBIAN}
ARG DEBIAN
LABEL org.opencontainers.image.title=netsonde \
  org.opencontainers.image.description="Per-node network agent for Kubernetes: what the network does to every Pod" \
  org.opencontainers.image.version=0.1.0 \
  org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only" \
  org.opencontainers.image.base.name=docker.io/library/debian:${DEBIAN}
# Certificates of authorities are inside of Node.js.
RUN apt-get update \
  && apt-get install -y --no-install-recommends libbpf1 libpcap0.8 \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* /var/log/apt /var/log/*.log
COPY --from=build /image /opt/netsonde
ENV PATH=/opt/netsonde/bin:${PATH}
# Root without the rights of root: Kubernetes makes capabilities effective for nobody else, and those of a file would bind the image to one
# set, as the kernel starts no file that asks for more than its container has. docs/capabilities.md says more, also of other users.
USER 0:0
EXPOSE 9102
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/netsonde/bin/netsonde"]
CMD ["serve"]

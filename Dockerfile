# The image of Sluice: docker build -t sluice:0.1.0 .
# scripts/image decides what is in it; `npm run image -- --out sluice.tar` makes the same image where no container engine is.
FROM node:24-bookworm-slim AS build
WORKDIR /work
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev
COPY . .
RUN node scripts/image/main.ts --root /image

FROM scratch
COPY --from=build /image /
COPY --from=build --chown=65532:65532 /image/home/sluice /home/sluice
# Nothing in it is written to: runs with a read-only root, and /tmp and /home/sluice as volumes.
ENV PATH=/usr/local/bin:/usr/bin:/bin HOME=/home/sluice USER=sluice NODE_ENV=production
LABEL org.opencontainers.image.title=sluice org.opencontainers.image.licenses=Apache-2.0
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["sluice"]
CMD ["--help"]

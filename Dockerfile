# The broker as an image: a virtual environment, the migrations and policies in it, nothing else.
#
# It runs as nobody in particular, writes nowhere but /tmp, and needs no shell: every command is
# an argument vector. For production, name both base images by digest.

ARG PYTHON=python:3.13-slim-trixie
ARG OPA=openpolicyagent/opa:1.22.0-static

FROM ${OPA} AS opa

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /src
# Two environments: the build backend does not travel with what it built.
COPY requirements/run.txt requirements/build.txt requirements/
RUN ["python", "-m", "venv", "/opt/build"]
RUN ["/opt/build/bin/pip", "install", "--require-hashes", "-r", "requirements/build.txt"]
RUN ["python", "-m", "venv", "/opt/broker"]
RUN ["/opt/broker/bin/pip", "install", "--require-hashes", "-r", "requirements/run.txt"]
COPY pyproject.toml README.md LICENSE ./
COPY broker/ broker/
COPY migrations/ migrations/
COPY policies/ policies/
RUN ["/opt/build/bin/hatchling", "build", "-t", "wheel", "-d", "/dist"]
RUN ["/opt/broker/bin/pip", "install", "--no-deps", "--no-index", "--find-links", "/dist", "token-exchange-broker"]
RUN ["/opt/broker/bin/python", "-m", "compileall", "-q", "/opt/broker/lib"]

FROM ${PYTHON}
# opa compiles a policies/ folder when `serve` starts and on SIGHUP; a built bundle needs none.
COPY --from=opa /opa /usr/local/bin/opa
COPY --from=build /opt/broker /opt/broker
ENV PATH=/opt/broker/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /tmp
# No such user exists in the image: a process that breaks out of Python is nobody there either.
USER 65532:65532
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9090/health/ready', timeout=2)"]
ENTRYPOINT ["broker"]
CMD ["serve", "--config", "/etc/broker/broker.yaml"]

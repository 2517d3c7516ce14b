# A model served: docs/serve.md has the lines to build and run it.
# The digest of a base image ages; pin it where you build for production.
FROM python:3.12-slim AS build

WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src ./src
# Into an environment of its own, of which nothing but the result is taken along.
RUN python -m venv /opt/ferfusion \
    && /opt/ferfusion/bin/pip install --no-cache-dir --disable-pip-version-check \
        --constraint constraints.txt '.[runtime,serve]'

FROM python:3.12-slim

COPY --from=build /opt/ferfusion /opt/ferfusion
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin ferfusion
ENV PATH=/opt/ferfusion/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/nonexistent \
    XDG_CACHE_HOME=/tmp
USER 10001
WORKDIR /
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# Whatever is published outside asks for a token: of FERFUSION_TOKEN, or printed at the start.
ENTRYPOINT ["ferfusion", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["/model"]

# One image a role, from the same pinned packages. An agency's image holds no hub.
FROM python:3.13-slim AS packages
ENV PYTHONUNBUFFERED=1 PYTHONPATH=/exchange
WORKDIR /exchange
COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt \
    && useradd --system --uid 10001 exchange \
    && install -d -o exchange -g exchange /exchange/state /exchange/spool
COPY contracts contracts
COPY keys keys

FROM packages AS connectors
COPY connectors connectors
USER exchange

FROM packages AS hub
COPY hub hub
USER exchange
CMD ["python", "-m", "hub.cli", "run"]

# The simulated agencies and what prepares a trial; never for service.
FROM hub AS trial
USER root
COPY requirements-dev.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements-dev.txt
COPY devstack devstack
USER exchange

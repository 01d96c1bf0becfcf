"""Run the command line as `python -m transom_client`."""

from transom_client.cli import main

if __name__ == "__main__":
    main()

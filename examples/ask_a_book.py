"""Ask a book a question, and see where the answer stands.

python examples/ask_a_book.py BOOK QUESTION
"""

import sys

import beacon_cli as beacon


def main(book: str, question: str) -> None:
    """Print the answer as it comes, then its places in the book."""
    memory = beacon.load().read(book)
    answer = memory.ask(question)
    for piece in answer:
        print(piece, end="", flush=True)
    print()
    for citation in answer.citations:
        print(f"page {citation.page}: “{citation.quote}”")
    if not answer.supported:
        print("The book does not say so in these words; it says this about the question:")
        for passage in reversed(answer.passages):
            print(f"page {passage.page}: {passage.text}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except beacon.BeaconError as error:
        sys.exit(f"error: {error}")

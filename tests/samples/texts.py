"""What is printed on the samples: invoices, letters and receipts of companies that do not exist."""

from __future__ import annotations

import random

GOODS = (
    "Ball bearing 6204 sealed", "Hex bolt M12 galvanised", "Copper pipe 22 mm", "Hydraulic hose 2 m", "Safety gloves size L",
    "Cable drum 50 m", "Filter cartridge", "Toothed belt 8M", "Welding wire 1.2 mm", "Pressure gauge 16 bar",
)  # fmt: skip
PLACES = ("Bristol", "Rotterdam", "Hamburg", "Lyon", "Porto", "Valencia", "Gdansk", "Malmo")
SENTENCES = (
    "Thank you for your order and for the trust that you place in our company.",
    "The goods leave our warehouse on Monday and reach you within three working days.",
    "Please check the delivery on arrival and report any damage to the carrier at once.",
    "Our new price list comes into force at the beginning of the next quarter.",
    "All parts carry a warranty of twenty four months from the date of delivery.",
    "Should you have any questions, our service team will be glad to help you.",
    "The certificate of origin is attached to this letter in two copies.",
    "We have noted your wish to receive all further invoices by electronic mail.",
)


def invoice(seed: int) -> list[str]:
    """About thirty lines, different for every seed."""
    choice = random.Random(seed)
    number = 4100 + seed
    lines = [
        "Northgate Industrial Supplies Ltd",
        f"{choice.randint(11, 89)} Harbour Road, {choice.choice(PLACES)}",
        f"Invoice number {number}",
        f"Date {choice.randint(10, 28)} March 2024",
        f"Customer account {choice.randint(20_000, 99_999)}",
        "",
    ]
    total = 0
    for position, goods in enumerate(choice.sample(GOODS, 8), start=1):
        count, cents = choice.randint(2, 40), choice.randint(250, 9_900)
        total += count * cents
        lines.append(f"{position}. {goods}, {count} pieces at {money(cents)} each, {money(count * cents)}")
    vat = round(total * 0.19)
    lines += ["", f"Subtotal EUR {money(total)}", f"VAT 19 percent EUR {money(vat)}", f"Total due EUR {money(total + vat)}", ""]
    return [*lines, *choice.sample(SENTENCES, 5), "Payment is due within thirty days of the date of this invoice."]


def letter(seed: int) -> list[str]:
    choice = random.Random(seed)
    return [
        "Harbour Freight Agency",
        f"{choice.choice(PLACES)}, {choice.randint(10, 28)} April 2024",
        "",
        "Dear customer,",
        *choice.sample(SENTENCES, 6),
        "",
        "Yours faithfully",
        "The shipping department",
    ]


def receipt(seed: int) -> list[str]:
    choice = random.Random(seed)
    lines = ["CORNER MARKET", "12 Station Street", f"Receipt {choice.randint(1000, 9999)}"]
    prices = {goods: choice.randint(99, 1_999) for goods in ("Bread", "Butter", "Coffee beans", "Apples", "Olive oil", "Soap")}
    lines += [f"{goods} {money(cents)}" for goods, cents in prices.items()]
    return [*lines, f"TOTAL EUR {money(sum(prices.values()))}", "Paid by card", "Thank you for your visit"]


def money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def printed(lines: list[str]) -> str:
    return "\n".join(line for line in lines if line)
